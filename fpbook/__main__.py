"""The commands of the book.

python -m fpbook execute    execute the chapters whose inputs changed
python -m fpbook opening    build the opening page alone, from its executed chapter
python -m fpbook validate   replay the executed chapters, and compare
python -m fpbook build      build the site from the executed chapters, in _build/html
python -m fpbook pdf        build the site, and print it into _build/book.pdf
python -m fpbook convert    convert results of earlier versions, and write the ledger anew
python -m fpbook explorer   train and publish the networks behind the explorer of sizes
python -m fpbook frames     attack some images, and publish the explorer of images
python -m fpbook sweep      compute a list of tasks, on one machine or many
python -m fpbook train      train the CIFAR-10 networks of a seed, also under torchrun
python -m fpbook dose       turn CIFAR-10 networks at five learning rates, and measure what it gains
python -m fpbook resnet     train what the published narrow ResNets lack, or attack them
python -m fpbook law        compute the lower bounds that follow from the law of the data alone
python -m fpbook kernel     train tangent kernels to convergence, clean and under attack
python -m fpbook verify     check published files by their checksums, and a certificate again
python -m fpbook numerics   train in several arithmetics, and compare what is concluded
python -m fpbook numerics-cifar10  measure the published CIFAR-10 networks in several arithmetics
python -m fpbook certified  train, certify and publish a small network, to be checked again
python -m fpbook narrow     train and publish the headline at a narrow margin of the data
python -m fpbook evaluation  our evaluation beside AutoAttack's, on the published networks
python -m fpbook trust      try much, count what stood: the page How far to trust this
python -m fpbook audit      ask what is known against all that is installed
python -m fpbook sbom       write the bill of materials, in CycloneDX

Each has its own --help.
"""

import pkgutil
import sys

from fpbook.build.chapters import BookError

COMMANDS = {  # their functions, imported when called: no command needs what another one does
    "execute": "fpbook.build.execute:main",
    "opening": "fpbook.build.opening:main",
    "validate": "fpbook.build.validate:main",
    "build": "fpbook.build.site:main",
    "pdf": "fpbook.build.site:main_pdf",
    "convert": "fpbook.results.convert:main",
    "explorer": "fpbook.synthetic.explorer_data:main",
    "frames": "fpbook.widgets.image_frames:main",
    "sweep": "fpbook.sweep.command:main",
    "train": "fpbook.cifar10.together:main",
    "dose": "fpbook.cifar10.dose:main",
    "resnet": "fpbook.cifar10.residual:main",
    "law": "fpbook.synthetic.law_bounds:main",
    "kernel": "fpbook.cifar10.tangent_saddle:main",
    "verify": "fpbook.synthetic.published_certificate:main_verify",
    "numerics": "fpbook.synthetic.precisions:main",
    "numerics-cifar10": "fpbook.cifar10.precisions:main",
    "certified": "fpbook.synthetic.published_certificate:main",
    "narrow": "fpbook.synthetic.narrow:main",
    "evaluation": "fpbook.cifar10.judged:main",
    "trust": "fpbook.build.trust:main",
    "audit": "fpbook.build.supply:main_audit",
    "sbom": "fpbook.build.supply:main_sbom",
}


def main(arguments: list[str]) -> int | None:
    """Run one command; its exit status.

    What the user can mend, and Ctrl-C, end in one line and no traceback.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        sys.exit(f"no command {command!r}: python -m fpbook {' | '.join(COMMANDS)}")
    try:
        return pkgutil.resolve_name(COMMANDS[command])(rest)
    except (BookError, ValueError, FileNotFoundError) as error:  # no data, no results
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
