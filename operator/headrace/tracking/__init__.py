"""The only room that talks to MLflow: `client` (REST), `ledger` (acts that are safe to repeat), `records`, `errors`."""
