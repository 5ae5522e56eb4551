# How fast the student is on this machine.
rule measure_speed:
    input:
        model="results/{dataset}/student/student.pt",
        frames=lambda wildcards: files("frames", "test")(wildcards)[0],
    output:
        "results/{dataset}/speed.json",
    log:
        "results/{dataset}/logs/measure_speed.log",
    benchmark:
        "results/{dataset}/benchmarks/measure_speed.tsv"
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=memory(16000),
    params:
        settings=settings("measure_speed"),
    shell:
        "python -m vadistill.stages.measure_speed --settings {params.settings:q} --model {input.model:q}"
        " --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"


# What every backend says of the test clips: differences of scores and maps, and of the AUC.
rule compare_backends:
    input:
        labels=raw("labels"),
        model="results/{dataset}/student/student.pt",
        calibration=files("frames", "train"),
        frames=files("frames", "test"),
    output:
        "results/{dataset}/backends.csv",
    log:
        "results/{dataset}/logs/compare_backends.log",
    benchmark:
        "results/{dataset}/benchmarks/compare_backends.tsv"
    conda:
        "../../envs/vadistill.yaml"
    threads: workflow.cores
    resources:
        gpu=1,
        mem_mb=memory(8000),
        runtime=1440,
    params:
        settings=settings("compare_backends"),
    shell:
        "python -m vadistill.stages.compare_backends --settings {params.settings:q} --model {input.model:q}"
        " --calibration {input.calibration:q} --frames {input.frames:q} --output {output:q} 2>&1 | tee {log:q}"


use rule measure_speed as measure_detector_speed with:
    input:
        model=trained_detector,
        frames=lambda wildcards: files("frames", "test")(wildcards)[0],
    output:
        "results/{dataset}/{detector}/speed.json",
    log:
        "results/{dataset}/logs/measure_detector_speed/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/measure_detector_speed/{detector}.tsv"
    wildcard_constraints:
        detector="|".join(TRAINED_DETECTORS) or "(?!)",


use rule compare_backends as compare_detector_backends with:
    input:
        labels=raw("labels"),
        model=trained_detector,
        calibration=files("frames", "train"),
        frames=files("frames", "test"),
    output:
        "results/{dataset}/{detector}/backends.csv",
    log:
        "results/{dataset}/logs/compare_detector_backends/{detector}.log",
    benchmark:
        "results/{dataset}/benchmarks/compare_detector_backends/{detector}.tsv"
    wildcard_constraints:
        detector="|".join(TRAINED_DETECTORS) or "(?!)",
