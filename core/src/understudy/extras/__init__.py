"""What needs an optional package: prices (genai-prices) and JSON schemas (jsonschema).

Enter by `pricing.price_of` and its neighbours, and `json_schema`. The package is imported inside functions. May import
the nouns.
"""
