"""From values to payloads and back: a registry of serializers, those that come with it, and Akka.NET's formats.

The modules `protobuf`, `akka_net` and `reliable_delivery` are imported on their own, since they load protobuf.
"""

from ._akka_values import TIMEOUT_NEVER_MS as TIMEOUT_NEVER_MS
from ._akka_values import Chunk as Chunk
from ._akka_values import Cleanup as Cleanup
from ._akka_values import Confirmed as Confirmed
from ._akka_values import MessageSent as MessageSent
from ._akka_values import PersistentFSMSnapshot as PersistentFSMSnapshot
from ._akka_values import ProducerQueueState as ProducerQueueState
from ._akka_values import StateChangeEvent as StateChangeEvent
from ._json import JSON_ID as JSON_ID
from ._json import JsonType as JsonType
from ._newtonsoft import NEWTONSOFT_ID as NEWTONSOFT_ID
from ._primitives import BYTES_ID as BYTES_ID
from ._primitives import NONE_ID as NONE_ID
from ._primitives import PRIMITIVE_ID as PRIMITIVE_ID
from ._primitives import PrimitiveSerializer as PrimitiveSerializer
from ._registry import Serialization as Serialization
from ._serializer import NO_SERIALIZER_ID as NO_SERIALIZER_ID
from ._serializer import PayloadReader as PayloadReader
from ._serializer import Serializer as Serializer
