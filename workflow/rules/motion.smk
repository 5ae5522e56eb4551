# Frames to motion by cells, which needs no objects, and to that of objects.
rule compute_motion:
    input:
        frames=files("frames"),
    output:
        "results/{dataset}/motion/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/compute_motion/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/compute_motion/{split}/{shard}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        settings=settings("compute_motion"),
    shell:
        "python -m vadistill.stages.compute_motion --settings {params.settings:q} --frames {input.frames:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


# Of objects, for all teachers that cut it so; only where object_flow.kept asks for it.
rule cut_flow:
    input:
        frames=files("frames"),
        detections=files("detections"),
        moving=branch(configured("objects.moving"), then=files("moving")),
    output:
        "results/{dataset}/object_flow/{split}/{shard}.h5",
    log:
        "results/{dataset}/logs/cut_flow/{split}/{shard}.log",
    benchmark:
        "results/{dataset}/benchmarks/cut_flow/{split}/{shard}.tsv"
    priority: flow_urgency
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        settings=settings("cut_flow"),
    shell:
        "python -m vadistill.stages.cut_flow --settings {params.settings:q} --frames {input.frames:q}"
        " --detections {input.detections:q} --moving {input.moving:q} --output {output:q} 2>&1 | tee {log:q}"


rule fit_flow_by_row:
    input:
        motion=files("motion", "train"),
    output:
        "results/{dataset}/trivial/flow_by_row.json",
    log:
        "results/{dataset}/logs/fit_flow_by_row.log",
    benchmark:
        "results/{dataset}/benchmarks/fit_flow_by_row.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        settings=settings("fit_flow_by_row"),
    shell:
        "python -m vadistill.stages.fit_flow_by_row --settings {params.settings:q} --motion {input.motion:q}"
        " --output {output:q} 2>&1 | tee {log:q}"
