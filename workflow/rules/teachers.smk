# Objects to teachers, teachers to scores, scores to anomaly maps; the objects of a teacher of cells are moving cells.
rule train_teacher:
    input:
        frames=files("frames", "train"),
        detections=files("detections", "train"),
        moving=branch(configured("objects.moving"), then=files("moving", "train")),
        flow=branch(keeps_flow, then=files("object_flow", "train")),
        image_pool=raw("image_pool"),
        network=raw("network_weights"),
    output:
        "results/{dataset}/teachers/{teacher}/model.pt",
    log:
        "results/{dataset}/logs/train_teacher/{teacher}.log",
    benchmark:
        "results/{dataset}/benchmarks/train_teacher/{teacher}.tsv"
    wildcard_constraints:
        teacher="|".join(teachers_of("boxes")),
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    threads: learners_threads("{teacher}")
    resources:
        gpu=learners_gpus("{teacher}"),
        mem_mb=memory(12000, "{teacher}"),
        runtime=1440,
    params:
        settings=settings("train_teacher"),
    shell:
        "python -m vadistill.stages.train_teacher --settings {params.settings:q} --teacher {wildcards.teacher}"
        " --frames {input.frames:q} --detections {input.detections:q} --moving {input.moving:q}"
        " --flow {input.flow:q} --image-pool {input.image_pool:q} --network {input.network:q} --output {output:q} 2>&1 | tee {log:q}"


rule score_objects:
    input:
        model=files("model"),
        frames=files("frames"),
        detections=files("detections"),
        moving=branch(configured("objects.moving"), then=files("moving")),
        flow=branch(keeps_flow, then=files("object_flow")),
    output:
        "results/{dataset}/object_scores/{teacher}/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/score_objects/{teacher}/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/score_objects/{teacher}/{split}/{shard}.tsv"
    wildcard_constraints:
        teacher="|".join(teachers_of("boxes")),
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    threads: network_threads
    resources:
        gpu=gpu,
        mem_mb=memory(6000),
    params:
        settings=settings("score_objects"),
    shell:
        "python -m vadistill.stages.score_objects --settings {params.settings:q} --teacher {wildcards.teacher}"
        " --model {input.model:q} --frames {input.frames:q} --detections {input.detections:q}"
        " --moving {input.moving:q} --flow {input.flow:q} --output {output:q} 2>&1 | tee {log:q}"


rule train_cells:
    input:
        motion=files("motion", "train"),
    output:
        "results/{dataset}/teachers/{teacher}/model.pt",
    log:
        "results/{dataset}/logs/train_cells/{teacher}.log",
    benchmark:
        "results/{dataset}/benchmarks/train_cells/{teacher}.tsv"
    wildcard_constraints:
        teacher="|".join(teachers_of("cells")),
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("train_cells"),
    shell:
        "python -m vadistill.stages.train_cells --settings {params.settings:q} --teacher {wildcards.teacher}"
        " --motion {input.motion:q} --output {output:q} 2>&1 | tee {log:q}"


rule score_cells:
    input:
        model=files("model"),
        motion=files("motion"),
    output:
        "results/{dataset}/object_scores/{teacher}/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/score_cells/{teacher}/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/score_cells/{teacher}/{split}/{shard}.tsv"
    wildcard_constraints:
        teacher="|".join(teachers_of("cells")),
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("score_cells"),
    shell:
        "python -m vadistill.stages.score_cells --settings {params.settings:q} --teacher {wildcards.teacher}"
        " --model {input.model:q} --motion {input.motion:q} --output {output:q} 2>&1 | tee {log:q}"


rule calibrate_teacher:
    input:
        files("scores", "train", clips=about("calibrated_on")),
    output:
        "results/{dataset}/teachers/{teacher}/calibration.json",
    log:
        "results/{dataset}/logs/calibrate_teacher/{teacher}.log",
    benchmark:
        "results/{dataset}/benchmarks/calibrate_teacher/{teacher}.tsv"
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("calibrate_teacher"),
    shell:
        "python -m vadistill.stages.calibrate_teacher --settings {params.settings:q} --scores {input:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule build_maps:
    input:
        scores=files("scores"),
        calibration=files("calibration"),
    output:
        "results/{dataset}/maps/{teacher}/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/build_maps/{teacher}/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/build_maps/{teacher}/{split}/{shard}.tsv"
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        settings=settings("build_maps"),
    shell:
        "python -m vadistill.stages.build_maps --settings {params.settings:q} --scores {input.scores:q}"
        " --calibration {input.calibration:q} --output {output:q} 2>&1 | tee {log:q}"


# Scores that need no model: what a teacher must beat.
rule score_trivially:
    input:
        frames=files("frames"),
        detections=files("detections"),
        moving=branch(configured("objects.moving"), then=files("moving")),
        motion=files("motion"),
        fitted=files("flow_by_row", "train"),
    output:
        "results/{dataset}/trivial/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/score_trivially/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/score_trivially/{split}/{shard}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        settings=settings("score_trivially"),
    shell:
        "python -m vadistill.stages.score_trivially --settings {params.settings:q} --frames {input.frames:q}"
        " --detections {input.detections:q} --moving {input.moving:q} --motion {input.motion:q}"
        " --fitted {input.fitted:q} --output {output:q} 2>&1 | tee {log:q}"


rule evaluate_teachers:
    input:
        labels=raw("labels"),
        boxes=branch(lambda wildcards: wildcards.split == "validation", then=files("boxes")),
        scores=files("scores", teachers=TEACHERS),
        maps=files("maps", teachers=TEACHERS),
        calibrations=files("calibration", "train", TEACHERS),
        trivial=files("trivial"),
    output:
        "results/{dataset}/teachers_{split}.csv",
    log:
        "results/{dataset}/logs/evaluate_teachers/{split}.log",
    benchmark:
        "results/{dataset}/benchmarks/evaluate_teachers/{split}.tsv"
    wildcard_constraints:
        split="validation|test",
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("evaluate_teachers"),
    shell:
        "python -m vadistill.stages.evaluate_teachers --settings {params.settings:q} --split {wildcards.split}"
        " --boxes {input.boxes:q} --scores {input.scores:q} --maps {input.maps:q}"
        " --calibrations {input.calibrations:q} --trivial {input.trivial:q} --output {output:q} 2>&1 | tee {log:q}"


rule compare_variants:
    input:
        collect("results/{variant}/{{who}}_{split}.csv", split=tabled_splits, variant=variants),
    output:
        "results/{dataset}/{who}_variants.csv",
    log:
        "results/{dataset}/logs/compare_variants/{who}.log",
    benchmark:
        "results/{dataset}/benchmarks/compare_variants/{who}.tsv"
    wildcard_constraints:
        who="teachers|student",
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("compare_variants"),
    shell:
        "python -m vadistill.stages.compare_variants --settings {params.settings:q} --tables {input:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule draw_teachers:
    input:
        labels=raw("labels"),
        frames=files("frames", "test"),
        scores=files("scores", "test", TEACHERS),
        calibrations=files("calibration", teachers=TEACHERS),
    output:
        directory("results/{dataset}/teacher_pictures"),
    log:
        "results/{dataset}/logs/draw_teachers.log",
    benchmark:
        "results/{dataset}/benchmarks/draw_teachers.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("draw_teachers"),
    shell:
        "python -m vadistill.stages.draw_teachers --settings {params.settings:q} --frames {input.frames:q}"
        " --scores {input.scores:q} --calibrations {input.calibrations:q} --output {output:q} 2>&1 | tee {log:q}"
