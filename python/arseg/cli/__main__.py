from arseg.cli import main

main()
