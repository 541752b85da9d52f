"""`python -m dicom_node.cli`, as `glionode`."""

from dicom_node.cli.main import main

if __name__ == "__main__":
    main()
