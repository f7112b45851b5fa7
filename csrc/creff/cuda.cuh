// The fusion on CUDA: which kernels take what.
#pragma once

#include "classify.cuh"
#include "pack.cuh"
#include "pair.cuh"
