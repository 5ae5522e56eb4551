# Frame-level detectors: from frames to frame scores and AUC. The student is trained in student.smk.
rule train_detector:
    input:
        frames=files("frames", "train"),
    output:
        "results/{dataset}/{detector}/trained.pt",
    log:
        "results/{dataset}/logs/train_detector/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/train_detector/{detector}.tsv"
    wildcard_constraints:
        detector="|".join(TRAINED_DETECTORS) or "(?!)",
    conda:
        "../../envs/vadistill.yaml"
    threads: learners_threads("{detector}")
    resources:
        gpu=learners_gpus("{detector}"),
        mem_mb=memory(16000, "{detector}"),
        runtime=1440,
    params:
        settings=settings("train_detector"),
    shell:
        "python -m vadistill.stages.train_detector --settings {params.settings:q} --detector {wildcards.detector}"
        " --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"


rule fit_score:
    input:
        trained=files("trained", teachers=lambda wildcards: wildcards.detector),
        frames=files("frames", "train"),
    output:
        "results/{dataset}/{detector}/model.pt",
    log:
        "results/{dataset}/logs/fit_score/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/fit_score/{detector}.tsv"
    wildcard_constraints:
        detector="|".join(TRAINED_DETECTORS) or "(?!)",
    conda:
        "../../envs/vadistill.yaml"
    threads: network_threads
    resources:
        gpu=gpu,
        mem_mb=memory(8000),
    params:
        settings=settings("fit_score"),
    shell:
        "python -m vadistill.stages.fit_score --settings {params.settings:q} --detector {wildcards.detector}"
        " --trained {input.trained:q} --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"


rule pack_cells:
    input:
        model=files("model", teachers="flow_cells"),
        calibration=files("calibration", teachers="flow_cells"),
        frames=files("frames", "train"),
    output:
        "results/{dataset}/flow_cells/packed.pt",
    log:
        "results/{dataset}/logs/pack_cells.log",
    benchmark:
        "results/{dataset}/benchmarks/pack_cells.tsv"
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("pack_cells"),
    shell:
        "python -m vadistill.stages.pack_cells --settings {params.settings:q} --model {input.model:q}"
        " --calibration {input.calibration:q} --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"


rule score_frames:
    input:
        model=trained_detector,
        frames=scored_frames,
    output:
        "results/{dataset}/{detector}/scores/{split}.h5",
    log:
        "results/{dataset}/logs/score_frames/{detector}/{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/score_frames/{detector}/{split}.tsv"
    wildcard_constraints:
        split=f"train|synthetic|validation|test|{HELD_OUT}",
    conda:
        "../../envs/vadistill.yaml"
    threads: network_threads
    resources:
        gpu=lambda wildcards: gpu(wildcards) if wildcards.detector not in TEACHERS else 0,  # these measure flow on processors
        mem_mb=memory(8000),
    params:
        settings=settings("score_frames"),
    shell:
        "python -m vadistill.stages.score_frames --settings {params.settings:q} --model {input.model:q}"
        " --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"


rule fit_alarms:
    input:
        scores=f"results/{{dataset}}/{{detector}}/scores/{HELD_OUT}.h5",
    output:
        "results/{dataset}/{detector}/alarms.json",
    log:
        "results/{dataset}/logs/fit_alarms/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/fit_alarms/{detector}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("fit_alarms"),
    shell:
        "python -m vadistill.stages.fit_alarms --settings {params.settings:q} --detector {wildcards.detector}"
        " --scores {input.scores:q} --output {output:q} 2>&1 | tee {log:q}"


rule evaluate_detector:
    input:
        labels=raw("labels"),
        scores="results/{dataset}/{detector}/scores/test.h5",
        trivial=files("trivial", "test"),
        alarms=branch(about("held_out"), then="results/{dataset}/{detector}/alarms.json"),
    output:
        "results/{dataset}/{detector}/auc.json",
    log:
        "results/{dataset}/logs/evaluate_detector/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/evaluate_detector/{detector}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("evaluate_detector"),
    shell:
        "python -m vadistill.stages.evaluate_detector --settings {params.settings:q} --dataset {wildcards.dataset:q}"
        " --detector {wildcards.detector} --scores {input.scores:q} --trivial {input.trivial:q}"
        " --alarms {input.alarms:q} --output {output:q} 2>&1 | tee {log:q}"


rule evaluate_detector_regions:
    input:
        labels=raw("regions"),
        frames=files("frames", "test"),
        scores="results/{dataset}/{detector}/scores/test.h5",
        normal="results/{dataset}/{detector}/scores/train.h5",
    output:
        "results/{dataset}/{detector}/localisation.json",
    log:
        "results/{dataset}/logs/evaluate_detector_regions/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/evaluate_detector_regions/{detector}.tsv"
    wildcard_constraints:
        detector="|".join(OTHER_DETECTORS) or "(?!)",
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("evaluate_detector_regions"),
    shell:
        "python -m vadistill.stages.evaluate_regions --settings {params.settings:q} --detector {wildcards.detector}"
        " --frames {input.frames:q} --scores {input.scores:q} --normal {input.normal:q} --output {output:q}"
        " 2>&1 | tee {log:q}"


rule draw_detector_pictures:
    input:
        labels=raw("labels"),
        frames=files("frames", "test"),
        scores="results/{dataset}/{detector}/scores/test.h5",
    output:
        directory("results/{dataset}/{detector}/pictures"),
    log:
        "results/{dataset}/logs/draw_detector_pictures/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/draw_detector_pictures/{detector}.tsv"
    wildcard_constraints:
        detector="|".join(OTHER_DETECTORS) or "(?!)",
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("draw_pictures"),
    shell:
        "python -m vadistill.stages.draw_pictures --settings {params.settings:q} --detector {wildcards.detector}"
        " --frames {input.frames:q} --scores {input.scores:q} --output {output:q} 2>&1 | tee {log:q}"


rule compare_detectors:
    input:
        labels=raw("labels"),
        localisations=branch(
            about("located"),
            then=[
                "results/{dataset}/localisation.json",
                *(f"results/{{dataset}}/{name}/localisation.json" for name in OTHER_DETECTORS),
            ],
        ),
        models=[f"results/{{dataset}}/{name}/{kind.model}" for name, kind in DETECTORS.items()],
        detectors=[f"results/{{dataset}}/{name}/scores/test.h5" for name in DETECTORS],
        scores=files("scores", "test", student_teachers),
        calibrations=files("calibration", teachers=student_teachers),
        trivial=files("trivial", "test"),
    output:
        table="results/{dataset}/comparison.csv",
        page=report("results/{dataset}/comparison.html", caption="../report/comparison.rst", category="{dataset}"),
    log:
        "results/{dataset}/logs/compare_detectors.log",
    benchmark:
        "results/{dataset}/benchmarks/compare_detectors.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("compare_detectors"),
    shell:
        "python -m vadistill.stages.compare_detectors --settings {params.settings:q} --dataset {wildcards.dataset:q}"
        " --models {input.models:q} --scores {input.detectors:q} --objects {input.scores:q}"
        " --calibrations {input.calibrations:q} --trivial {input.trivial:q}"
        " --localisations {input.localisations:q} --table {output.table:q}"
        " --output {output.page:q} 2>&1 | tee {log:q}"


rule compare_detector_ablation:
    input:
        collect("results/{run}/{{detector}}/auc.json", run=ablation_runs),
    output:
        table="results/{dataset}/{detector}/ablation.csv",
        plot="results/{dataset}/{detector}/ablation.png",
    log:
        "results/{dataset}/logs/compare_detector_ablation/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/compare_detector_ablation/{detector}.tsv"
    wildcard_constraints:
        detector="|".join(name for name in ABLATIONS if name != "student"),
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("compare_detector_ablation"),
    shell:
        "python -m vadistill.stages.compare_detector_ablation --settings {params.settings:q} --results {input:q}"
        " --output {output.table:q} --plot {output.plot:q} 2>&1 | tee {log:q}"
