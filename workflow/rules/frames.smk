# Raw clips to frame stores.
rule measure_depth:
    input:
        sources=raw("training_clips"),
    output:
        "results/{dataset}/depth.json",
    log:
        "results/{dataset}/logs/measure_depth.log",
    benchmark:
        "results/{dataset}/benchmarks/measure_depth.tsv"
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        settings=settings("measure_depth"),
    shell:
        "python -m vadistill.stages.measure_depth --settings {params.settings:q} --sources {input.sources:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


# Where images of more than 8 bits are scaled by percentiles, the settings name the file of their range.
rule extract_frames:
    input:
        source=raw("clip"),
        depth=branch(about("measures_depth"), then="results/{dataset}/depth.json"),
    output:
        "results/{dataset}/frames/{split}/{clip}.h5",
    log:
        "results/{dataset}/logs/extract_frames/{split}/{clip}.log",
    benchmark:
        "results/{dataset}/benchmarks/extract_frames/{split}/{clip}.tsv"
    wildcard_constraints:
        split="train|test",
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        settings=settings("extract_frames"),
    shell:
        "python -m vadistill.stages.extract_frames --settings {params.settings:q} --source {input.source:q}"
        " --split {wildcards.split} --clip {wildcards.clip:q} --output {output:q} 2>&1 | tee {log:q}"


# Training clips with synthetic anomalies: the held-out ones are the split `validation`, the student may learn from the others,
# the split `synthetic`. They pass through the same rules as all clips.
rule make_synthetic_clip:
    input:
        frames=files("frames", "train", clips=synthetic_source),
        detections=files("detections", "train"),
    output:
        frames="results/{dataset}/frames/{split}/{clip}.h5",
        boxes="results/{dataset}/{split}/{clip}.npy",
    log:
        "results/{dataset}/logs/make_synthetic_clip/{split}/{clip}.log",
    benchmark:
        "results/{dataset}/benchmarks/make_synthetic_clip/{split}/{clip}.tsv"
    wildcard_constraints:
        split="validation|synthetic",
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        settings=settings("make_{split}_clip"),
    shell:
        "python -m vadistill.stages.make_synthetic_clip --settings {params.settings:q} --split {wildcards.split}"
        " --clip {wildcards.clip:q} --frames {input.frames:q} --detections {input.detections:q} --output {output.frames:q}"
        " --boxes {output.boxes:q} 2>&1 | tee {log:q}"
