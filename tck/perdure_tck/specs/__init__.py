"""The specs, as pytest runs them: `pytest --pyargs perdure_tck.specs --perdure-backend NAME`."""
