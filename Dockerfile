# Scores videos by exported students: docker build -t vadistill .
# With OpenCV for flow and folders of images, OpenVINO, live cameras: --build-arg EXTRAS=[opencv,openvino,watch]
FROM python:3.12-slim
ARG EXTRAS=

WORKDIR /vadistill
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN case "$EXTRAS" in *opencv*|*watch*) apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* ;; esac
RUN pip install --no-cache-dir ".$EXTRAS"

RUN useradd --create-home vadistill
USER vadistill
WORKDIR /data
ENTRYPOINT ["vadistill"]
