"""Use a mapping: on photographs and stores, refined, exported, or written from an estimator."""
