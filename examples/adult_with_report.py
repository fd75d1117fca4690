"""Who earned more than 50 000 dollars? A table, a run folder with all that is worth keeping, and a report to open in the browser."""

from pathlib import Path

import plainnet
from plainnet.runs.runs import Run
from plainnet.runs.train_run import train_run


def main(folder: Path = Path("runs/adult-report"), rows: int = 10_000, effort: str = "default") -> Run:
    """Train on the bundled table, and return the run."""
    # 1. A table, as you would have one: a file.
    folder.parent.mkdir(parents=True, exist_ok=True)
    table = folder.with_suffix(".csv")
    plainnet.load_adult().head(rows).write_csv(table)

    # 2. Train on four fifths of its rows, and score on the others. The same in the shell: plainnet train adult.csv --target income
    run = train_run(table, "income", folder, settings={"effort": effort}, overwrite=True)

    # 3. How good is it, and how good would be who looks at no column?
    for score in run.facts["scores"]["test"]:
        print(f"{score['metric']:20} {score['value']:.3f}   baseline {score['baseline']:.3f}   on {score['rows']} rows")

    # 4. What is in the folder: the model, the loss of each epoch, the report.
    for file in sorted(folder.iterdir()):
        print(file)
    return run


if __name__ == "__main__":
    main()
