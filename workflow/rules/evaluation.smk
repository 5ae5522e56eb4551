# Scores and labels to AUC and pictures.
rule evaluate:
    input:
        labels=raw("labels"),
        student="results/{dataset}/student/scores/test.h5",
        scores=files("scores", "test", student_teachers),
        maps=files("maps", "test", student_teachers),
        calibrations=files("calibration", teachers=student_teachers),
        trivial=files("trivial", "test"),
        alarms=branch(about("held_out"), then="results/{dataset}/student/alarms.json"),
    output:
        "results/{dataset}/auc.json",
    log:
        "results/{dataset}/logs/evaluate.log",
    benchmark:
        "results/{dataset}/benchmarks/evaluate.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("evaluate"),
    shell:
        "python -m vadistill.stages.evaluate --settings {params.settings:q} --dataset {wildcards.dataset:q}"
        " --student {input.student:q} --scores {input.scores:q} --maps {input.maps:q}"
        " --calibrations {input.calibrations:q} --trivial {input.trivial:q} --alarms {input.alarms:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule evaluate_regions:
    input:
        labels=raw("regions"),
        frames=files("frames", "test"),
        student="results/{dataset}/student/scores/test.h5",
        normal="results/{dataset}/student/scores/train.h5",
        scores=files("scores", "test", student_teachers),
        maps=files("maps", "test", student_teachers),
        calibrations=files("calibration", teachers=student_teachers),
    output:
        "results/{dataset}/localisation.json",
    log:
        "results/{dataset}/logs/evaluate_regions.log",
    benchmark:
        "results/{dataset}/benchmarks/evaluate_regions.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("evaluate_regions"),
    shell:
        "python -m vadistill.stages.evaluate_regions --settings {params.settings:q} --detector student"
        " --frames {input.frames:q} --scores {input.student:q} --normal {input.normal:q} --objects {input.scores:q}"
        " --maps {input.maps:q} --calibrations {input.calibrations:q} --output {output:q} 2>&1 | tee {log:q}"


rule draw_pictures:
    input:
        labels=raw("labels"),
        frames=files("frames", "test"),
        student="results/{dataset}/student/scores/test.h5",
        scores=files("scores", "test", student_teachers),
        maps=files("maps", "test", student_teachers),
        calibrations=files("calibration", teachers=student_teachers),
    output:
        report(
            directory("results/{dataset}/pictures"),
            patterns=["{name}.png"],
            caption="../report/pictures.rst",
            category="{dataset}",
            subcategory="pictures",
        ),
    log:
        "results/{dataset}/logs/draw_pictures.log",
    benchmark:
        "results/{dataset}/benchmarks/draw_pictures.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("draw_pictures"),
    shell:
        "python -m vadistill.stages.draw_pictures --settings {params.settings:q} --detector student"
        " --frames {input.frames:q} --scores {input.student:q} --objects {input.scores:q} --maps {input.maps:q}"
        " --calibrations {input.calibrations:q} --output {output:q} 2>&1 | tee {log:q}"
