# Frames and the teachers' maps to the student, the student to frame scores.
rule pretrain_student:
    input:
        frames=frames("train"),
    output:
        "results/{dataset}/student/pretrained.pt",
    log:
        "results/{dataset}/logs/pretrain_student.log",
    benchmark:
        "results/{dataset}/benchmarks/pretrain_student.tsv"
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=8000,
    params:
        settings=settings("pretrain_student"),
    shell:
        "python -m vadistill.stages.pretrain_student --settings {params.settings:q} --frames {input.frames:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule distill_student:
    input:
        pretrained=pretrained,
        frames=frames("train"),
        maps=of_teachers("maps", "train"),
    output:
        "results/{dataset}/student/distilled.pt",
    log:
        "results/{dataset}/logs/distill_student.log",
    benchmark:
        "results/{dataset}/benchmarks/distill_student.tsv"
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=8000,
    params:
        settings=settings("distill_student"),
    shell:
        "python -m vadistill.stages.distill_student --settings {params.settings:q} --pretrained {input.pretrained:q}"
        " --frames {input.frames:q} --maps {input.maps:q} --output {output:q} 2>&1 | tee {log:q}"


rule score_frames:
    input:
        model="results/{dataset}/student/distilled.pt",
        frames=frames("test"),
    output:
        "results/{dataset}/student/scores.h5",
    log:
        "results/{dataset}/logs/score_frames.log",
    benchmark:
        "results/{dataset}/benchmarks/score_frames.tsv"
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        settings=settings("score_frames"),
    shell:
        "python -m vadistill.stages.score_frames --settings {params.settings:q} --model {input.model:q}"
        " --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"
