# Frames and the teachers' maps to the student, its scores to tables.
rule pretrain_student:
    input:
        frames=files("frames", "train"),
    output:
        "results/{dataset}/student/pretrained.pt",
    log:
        "results/{dataset}/logs/pretrain_student.log",
    benchmark:
        "results/{dataset}/benchmarks/pretrain_student.tsv"
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    threads: learners_threads("pretraining")
    resources:
        gpu=learners_gpus("pretraining"),
        mem_mb=memory(16000, "pretraining"),
        runtime=1440,
    params:
        settings=settings("pretrain_student"),
    shell:
        "python -m vadistill.stages.pretrain_student --settings {params.settings:q} --frames {input.frames:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule distill_student:
    input:
        pretrained=branch(configured("distillation.pretrained"), then=files("pretrained")),
        frames=about("learned"),
        maps=files("maps", student_splits, student_teachers),
        validation=branch(selected_on_validation, then=files("frames", "validation", clips=about("selecting"))),
        boxes=branch(selected_on_validation, then=files("boxes", "validation", clips=about("selecting"))),
        validation_maps=branch(
            selected_on_validation, then=files("maps", "validation", student_teachers, clips=about("selecting"))
        ),
    output:
        "results/{dataset}/student/distilled.pt",
    log:
        "results/{dataset}/logs/distill_student.log",
    benchmark:
        "results/{dataset}/benchmarks/distill_student.tsv"
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    threads: learners_threads("distillation")
    resources:
        gpu=learners_gpus("distillation"),
        mem_mb=memory(16000, "distillation"),
        runtime=1440,
    params:
        settings=settings("distill_student"),
    shell:
        "python -m vadistill.stages.distill_student --settings {params.settings:q} --pretrained {input.pretrained:q}"
        " --frames {input.frames:q} --maps {input.maps:q} --validation {input.validation:q}"
        " --boxes {input.boxes:q} --validation-maps {input.validation_maps:q} --output {output:q} 2>&1 | tee {log:q}"


# What is usual at each place of the camera's picture, by the trained student's features.
rule measure_usual:
    input:
        model="results/{dataset}/student/distilled.pt",
        frames=files("frames", "train"),
    output:
        "results/{dataset}/student/student.pt",
    log:
        "results/{dataset}/logs/measure_usual.log",
    benchmark:
        "results/{dataset}/benchmarks/measure_usual.tsv"
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    threads: network_threads
    resources:
        gpu=gpu,
        mem_mb=memory(8000),
    params:
        settings=settings("measure_usual"),
    shell:
        "python -m vadistill.stages.measure_usual --settings {params.settings:q} --model {input.model:q}"
        " --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"


rule evaluate_student:
    input:
        labels=raw("labels"),
        boxes=branch(about("held_out"), then=files("boxes", "validation")),
        student="results/{dataset}/student/scores/{split}.h5",
        validation=branch(about("held_out"), then="results/{dataset}/student/scores/validation.h5"),
    output:
        "results/{dataset}/student_{split}.csv",
    log:
        "results/{dataset}/logs/evaluate_student/{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/evaluate_student/{split}.tsv"
    wildcard_constraints:
        split="validation|test",
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("evaluate_student"),
    shell:
        "python -m vadistill.stages.evaluate_student --settings {params.settings:q} --split {wildcards.split}"
        " --boxes {input.boxes:q} --student {input.student:q} --validation {input.validation:q} --output {output:q}"
        " 2>&1 | tee {log:q}"


rule compare_ablation:
    input:
        collect("results/{run}/student_{split}.csv", split=tabled_splits, run=ablation_runs),
    output:
        table=report("results/{dataset}/ablation.csv", caption="../report/ablation.rst", category="{dataset}"),
        plot=report("results/{dataset}/ablation.png", caption="../report/ablation.rst", category="{dataset}"),
    log:
        "results/{dataset}/logs/compare_ablation.log",
    benchmark:
        "results/{dataset}/benchmarks/compare_ablation.tsv"
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("compare_ablation"),
    shell:
        "python -m vadistill.stages.compare_ablation --settings {params.settings:q} --tables {input:q}"
        " --output {output.table:q} --plot {output.plot:q} 2>&1 | tee {log:q}"


rule judge_student:
    input:
        scores=collect("results/{run}/student/scores/validation.h5", run=judge_runs),
        boxes=files("boxes", "validation"),
    output:
        "results/{dataset}/judge.csv",
    log:
        "results/{dataset}/logs/judge_student.log",
    benchmark:
        "results/{dataset}/benchmarks/judge_student.tsv"
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("judge_student"),
    shell:
        "python -m vadistill.stages.judge_student --settings {params.settings:q} --scores {input.scores:q}"
        " --boxes {input.boxes:q} --output {output:q} 2>&1 | tee {log:q}"
