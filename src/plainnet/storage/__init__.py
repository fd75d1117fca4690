"""Storage: everything fitted  <->  one safetensors file with a JSON header."""
