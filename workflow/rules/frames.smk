# Raw clips to frame stores.
rule extract_frames:
    input:
        source=ancient(lambda wildcards: str(clip(wildcards).source)),
    output:
        "results/{dataset}/frames/{split}/{clip}.h5",
    log:
        "results/{dataset}/logs/extract_frames/{split}/{clip}.log",
    benchmark:
        "results/{dataset}/benchmarks/extract_frames/{split}/{clip}.tsv"
    wildcard_constraints:
        split="train|test",
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=1000,
    params:
        settings=extraction_settings,
    shell:
        "python -m vadistill.stages.extract_frames --settings {params.settings:q} --source {input.source:q}"
        " --split {wildcards.split} --clip {wildcards.clip:q} --output {output:q} 2>&1 | tee {log:q}"


# The split `validation`: held-out training clips with synthetic anomalies. They pass through the same rules as all others.
rule make_validation_clip:
    input:
        frames=validation_source,
        detections=sharded("detections", "train"),
    output:
        frames="results/{dataset}/frames/validation/{clip}.h5",
        boxes="results/{dataset}/validation/{clip}.npy",
    log:
        "results/{dataset}/logs/make_validation_clip/{clip}.log",
    benchmark:
        "results/{dataset}/benchmarks/make_validation_clip/{clip}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=2000,
    params:
        settings=validation_settings,
    shell:
        "python -m vadistill.stages.make_validation_clip --settings {params.settings:q} --clip {wildcards.clip:q}"
        " --frames {input.frames:q} --detections {input.detections:q} --output {output.frames:q}"
        " --boxes {output.boxes:q} 2>&1 | tee {log:q}"
