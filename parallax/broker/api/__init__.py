"""The parts of OpenAI's API that gateways and engines share: body shapes and paths."""
