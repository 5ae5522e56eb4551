# Objects to teachers, teachers to scores, scores to anomaly maps.
rule train_teacher:
    input:
        frames=frames("train"),
        detections=sharded("results/{dataset}/detections/train/{shard}.h5", "train"),
    output:
        "results/{dataset}/teachers/{teacher}/model.pt",
    log:
        "results/{dataset}/logs/train_teacher/{teacher}.log",
    benchmark:
        "results/{dataset}/benchmarks/train_teacher/{teacher}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=8000,
    params:
        settings=settings("train_teacher"),
    shell:
        "python -m vadistill.stages.train_teacher --settings {params.settings:q} --teacher {wildcards.teacher}"
        " --frames {input.frames:q} --detections {input.detections:q} --output {output:q} 2>&1 | tee {log:q}"


rule score_objects:
    input:
        model="results/{dataset}/teachers/{teacher}/model.pt",
        frames=frames_of_shard,
        detections="results/{dataset}/detections/{split}/{shard}.h5",
    output:
        "results/{dataset}/object_scores/{teacher}/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/score_objects/{teacher}/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/score_objects/{teacher}/{split}/{shard}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        settings=settings("score_objects"),
    shell:
        "python -m vadistill.stages.score_objects --settings {params.settings:q} --teacher {wildcards.teacher}"
        " --model {input.model:q} --frames {input.frames:q} --detections {input.detections:q} --output {output:q}"
        " 2>&1 | tee {log:q}"


rule calibrate_teacher:
    input:
        sharded("results/{dataset}/object_scores/{teacher}/train/{shard}.h5", "train"),
    output:
        "results/{dataset}/teachers/{teacher}/calibration.json",
    log:
        "results/{dataset}/logs/calibrate_teacher/{teacher}.log",
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("calibrate_teacher"),
    shell:
        "python -m vadistill.stages.calibrate_teacher --settings {params.settings:q} --scores {input:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule build_maps:
    input:
        scores="results/{dataset}/object_scores/{teacher}/{split}/{shard}.h5",
        calibration="results/{dataset}/teachers/{teacher}/calibration.json",
    output:
        "results/{dataset}/maps/{teacher}/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/build_maps/{teacher}/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/build_maps/{teacher}/{split}/{shard}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=2000,
    params:
        settings=settings("build_maps"),
    shell:
        "python -m vadistill.stages.build_maps --settings {params.settings:q} --scores {input.scores:q}"
        " --calibration {input.calibration:q} --output {output:q} 2>&1 | tee {log:q}"
