# Results to look at.
rule draw_overlay:
    input:
        labels=raw("labels"),
        frames=files("frames", "test"),
        student="results/{dataset}/student/scores/test.h5",
        scores=files("scores", "test", student_teachers),
        calibrations=files("calibration", teachers=student_teachers),
    output:
        "results/{dataset}/overlays/{clip}.mp4",
    log:
        "results/{dataset}/logs/draw_overlay/{clip}.log",
    benchmark:
        "results/{dataset}/benchmarks/draw_overlay/{clip}.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("draw_overlay"),
    shell:
        "python -m vadistill.stages.draw_overlay --settings {params.settings:q} --detector student"
        " --frames {input.frames:q} --scores {input.student:q} --objects {input.scores:q}"
        " --calibrations {input.calibrations:q} --output {output:q} 2>&1 | tee {log:q}"


rule draw_detector_overlay:
    input:
        labels=raw("labels"),
        frames=files("frames", "test"),
        scores="results/{dataset}/{detector}/scores/test.h5",
    output:
        "results/{dataset}/{detector}/overlays/{clip}.mp4",
    log:
        "results/{dataset}/logs/draw_detector_overlay/{detector}/{clip}.log",
    benchmark:
        "results/{dataset}/benchmarks/draw_detector_overlay/{detector}/{clip}.tsv"
    wildcard_constraints:
        detector="|".join(OTHER_DETECTORS) or "(?!)",
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("draw_overlay"),
    shell:
        "python -m vadistill.stages.draw_overlay --settings {params.settings:q} --detector {wildcards.detector}"
        " --frames {input.frames:q} --scores {input.scores:q} --output {output:q} 2>&1 | tee {log:q}"


rule write_report:
    input:
        labels=raw("labels"),
        result="results/{dataset}/auc.json",
        localisation=branch(about("located"), then="results/{dataset}/localisation.json"),
        frames=files("frames", "test"),
        student="results/{dataset}/student/scores/test.h5",
        scores=files("scores", "test", student_teachers),
        calibrations=files("calibration", teachers=student_teachers),
    output:
        report("results/{dataset}/report.html", caption="../report/report.rst", category="{dataset}"),
    log:
        "results/{dataset}/logs/write_report.log",
    benchmark:
        "results/{dataset}/benchmarks/write_report.tsv"
    conda:
        "../../envs/vadistill.yaml"
    resources:
        mem_mb=memory(4000),
    params:
        settings=settings("write_report"),
    shell:
        "python -m vadistill.stages.write_report --settings {params.settings:q} --result {input.result:q}"
        " --localisation {input.localisation:q} --frames {input.frames:q} --student {input.student:q}"
        " --scores {input.scores:q} --calibrations {input.calibrations:q} --output {output:q} 2>&1 | tee {log:q}"
