"""Many runs, and curves of many runs, from MLflow in few questions."""
