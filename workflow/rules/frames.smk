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
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=1000,
    params:
        settings=extraction_settings,
    shell:
        "python -m vadistill.stages.extract_frames --settings {params.settings:q} --source {input.source:q}"
        " --split {wildcards.split} --clip {wildcards.clip:q} --output {output:q} 2>&1 | tee {log:q}"
