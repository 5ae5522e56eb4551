from snakemake.utils import min_version

min_version("9.27")  # a priority may be a function


configfile: "config.yaml"


include: "workflow/rules/running.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/demo.smk"
include: "workflow/rules/frames.smk"
include: "workflow/rules/motion.smk"
include: "workflow/rules/detection.smk"
include: "workflow/rules/teachers.smk"
include: "workflow/rules/student.smk"
include: "workflow/rules/frame_level.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/speed.smk"


rule all:
    default_target: True
    input:
        "results/demo/auc.json",
        "results/demo/pictures",
        "results/demo/teachers_validation.csv",
        "results/demo/teachers_test.csv",
