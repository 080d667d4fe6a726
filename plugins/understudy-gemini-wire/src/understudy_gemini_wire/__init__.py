"""What the providers for Gemini share: its JSON, its streams, its failures and what is known of its models. No SDK."""
