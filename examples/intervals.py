"""How long will the trip take, and how sure is that? One number a row, an interval of one width, and quantiles of each row."""

import numpy as np
import polars as pl

import plainnet


def trips(rows: int) -> pl.DataFrame:
    """Make trips up: by their length, the hour and the means, and the longer the less sure."""
    rng = np.random.default_rng(0)
    km, hour = rng.uniform(1, 50, rows), rng.integers(0, 24, rows)
    means = rng.choice(["bus", "car", "bike"], rows)
    pace = np.select([means == "bus", means == "car"], [2.5, 1.5], 4.0) + np.isin(hour, [7, 8, 17]) * (means != "bike")
    return pl.DataFrame({"km": km, "hour": hour, "means": means, "minutes": pace * km * rng.lognormal(0, 0.15, rows)})


def main(rows: int = 4000, effort: str = "default") -> dict[str, float]:
    """Train, and return which share of the test rows each kind of interval holds."""
    table = trips(rows)
    train, test = table.head(rows // 2), table.tail(rows - rows // 2)
    truth = test["minutes"].to_numpy()

    # 1. The mean of each row, and an interval as wide for each: from the errors on rows that the networks did not see.
    regressor = plainnet.NetRegressor(effort=effort).fit(train, "minutes")
    low, high = regressor.predict_interval(test, coverage=0.9).T

    # 2. Quantiles: as wide as each row needs.
    quantiles = plainnet.NetRegressor(quantiles=[0.05, 0.5, 0.95], effort=effort).fit(train, "minutes")
    least, middle, most = quantiles.predict(test).T

    # 3. Does an interval of 90 % hold 90 %?
    found = {
        "interval": float(((low <= truth) & (truth <= high)).mean()),
        "quantiles": float(((least <= truth) & (truth <= most)).mean()),
    }
    print(f"R² {regressor.score(test, 'minutes'):.3f}")
    for kind, share in found.items():
        print(f"{kind:10} {share:.1%} of the trips lie inside, 90 % were asked for")
    for row in range(3):
        km, means = test["km"][row], test["means"][row]
        print(f"{km:4.1f} km by {means}: {middle[row]:.0f} minutes, {least[row]:.0f} to {most[row]:.0f}")
    return found


if __name__ == "__main__":
    main()
