"""What gateways and engines both read of OpenAI's API: shapes of bodies, and their paths."""
