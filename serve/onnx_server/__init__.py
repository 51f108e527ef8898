"""The OpenAI-compatible server over ONNX Runtime GenAI."""
