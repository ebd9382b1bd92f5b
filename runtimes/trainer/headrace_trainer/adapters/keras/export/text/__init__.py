"""A decoder with its tokenizer, laid out as onnxruntime-genai has it: the format Text."""
