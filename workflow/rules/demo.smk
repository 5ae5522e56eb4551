# The generated data set, and the detector that was trained for it.
rule generate_train_clip:
    output:
        video="results/{dataset}/clips/train/{clip}.avi",
    log:
        "results/{dataset}/logs/generate/{clip}.log",
    priority: urgency
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("generate_demo"),
    shell:
        "python -m vadistill.stages.generate_demo --settings {params.settings:q} --split train"
        " --clip {wildcards.clip:q} --video {output.video:q} 2>&1 | tee {log:q}"


rule generate_test_clip:
    output:
        video="results/{dataset}/clips/test/{clip}.avi",
        mask="results/{dataset}/clips/test_pixel_mask/{clip}.npy",
    log:
        "results/{dataset}/logs/generate/{clip}.log",
    conda:
        "../../envs/vadistill.yaml"
    params:
        settings=settings("generate_demo"),
    shell:
        "python -m vadistill.stages.generate_demo --settings {params.settings:q} --split test"
        " --clip {wildcards.clip:q} --video {output.video:q} --mask {output.mask:q} 2>&1 | tee {log:q}"


rule train_demo_detector:
    input:
        architecture="resources/demo/yolo.yaml",
    output:
        "results/demo_detector/demo.pt",
    log:
        "results/demo_detector/train.log",
    benchmark:
        "results/demo_detector/benchmark.tsv"
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=memory(6000),
    params:
        settings='{"version":1}',
    shell:
        "python -m vadistill.stages.train_demo_detector --settings {params.settings:q}"
        " --architecture {input.architecture:q} --output {output:q} 2>&1 | tee {log:q}"
