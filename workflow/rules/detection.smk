# Frames to boxes with class probabilities.
import re


rule detect_objects:
    input:
        weights=raw("detector_weights"),
        frames=files("frames"),
    output:
        "results/{dataset}/detections/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/detect_objects/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/detect_objects/{split}/{shard}.tsv"
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    threads: network_threads
    resources:
        gpu=gpu,
        mem_mb=memory(6000),
    params:
        settings=settings("detect_objects"),
    shell:
        "python -m vadistill.stages.detect_objects --settings {params.settings:q} --weights {input.weights:q}"
        " --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"


# Moving regions, for objects that the detector does not know; only where objects.moving asks for them.
rule find_moving:
    input:
        frames=files("frames"),
    output:
        "results/{dataset}/moving/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/find_moving/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/find_moving/{split}/{shard}.tsv"
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        settings=settings("find_moving"),
    shell:
        "python -m vadistill.stages.find_moving --settings {params.settings:q} --frames {input.frames:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


# Snakemake deletes the outputs of a rule before it runs it again; weights that lie there are the user's own, so that
# the rule exists only for the ones that are missing.
missing = [name for name in DATA.detector_weights() if not Path("resources/weights", name).exists()]

if missing:

    rule fetch_detector:
        output:
            "resources/weights/{weights}",
        log:
            "results/logs/fetch_detector/{weights}.log",
        wildcard_constraints:
            weights="|".join(map(re.escape, missing)),
        conda:
            "../../envs/vadistill.yaml"
        params:
            settings='{"version":1}',
        shell:
            "python -m vadistill.stages.fetch_detector --settings {params.settings:q} --output {output:q}"
            " 2>&1 | tee {log:q}"
