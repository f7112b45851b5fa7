#!/bin/sh
# NVIDIA's compiler into a manylinux_2_28 image, whose system is AlmaLinux 8; its runtime is linked in.
set -eu
version=13-0 # torch's own, as `python -c "import torch; print(torch.version.cuda)"` prints it
machine=$(uname -m)
[ "$machine" = aarch64 ] && machine=sbsa
dnf -y -q install dnf-plugins-core
dnf config-manager --add-repo "https://developer.download.nvidia.com/compute/cuda/repos/rhel8/$machine/cuda-rhel8.repo"
dnf -y -q install "cuda-minimal-build-$version"
/usr/local/cuda/bin/nvcc --version
