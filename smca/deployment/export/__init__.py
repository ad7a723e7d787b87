"""A MODEL folder -> one file for onnxruntime, OpenVINO or torch alone, verified on images before it has its name."""
