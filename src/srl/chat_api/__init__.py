"""Chat messages -> answers of an OpenAI-compatible endpoint: for ``srl rewrite``, the judge, the expert's endings."""

from srl.chat_api.ask import ask_many, check_server
from srl.chat_api.client import ChatAnswer, EndpointError
from srl.chat_api.settings import ServerConfig

__all__ = ["ChatAnswer", "EndpointError", "ServerConfig", "ask_many", "check_server"]
