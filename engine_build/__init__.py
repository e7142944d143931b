"""Builds TensorRT-LLM engines of Whisper: weights, plan, compilation, gate, manifest."""
