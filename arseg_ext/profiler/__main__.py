import sys

from arseg_ext.profiler.cli import main

if __name__ == "__main__":
    sys.exit(main())
