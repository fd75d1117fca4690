"""Networks: widths  ->  a plain ``nn.Sequential``."""
