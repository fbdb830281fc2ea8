from .batcher import Batcher as Batcher, BusyError as BusyError, LateError as LateError
from .request_log import RequestLog as RequestLog, replay as replay
from .served import Served as Served
from .service import Answer as Answer, Service as Service, Settings as Settings
