"""The arrays' BF16 arithmetic: scalar twins, NumPy, compiled and vector kernels, one set of bits."""
