"""The operators are loaded before any test of this folder asks torch.ops for one."""

import arseg_ext

arseg_ext.load()
