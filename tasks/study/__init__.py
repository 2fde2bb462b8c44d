"""A study: methods tuned alike on a benchmark and measured beside retain models. Knows neither Prefect nor MLflow."""
