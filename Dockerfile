# Not run here: where this was written no Docker runs. Research use only, not a medical device.
FROM python:3.11-slim-bookworm
WORKDIR /opt/glionode
COPY . .
# For CUDA, build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" torch==2.13.0 \
 && pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
 && pip install --no-cache-dir --no-deps --no-build-isolation . \
 && python -m dicom_node.web.viewer_assets \
 && useradd --create-home glionode
USER glionode
ENTRYPOINT ["glionode"]
CMD ["serve"]
