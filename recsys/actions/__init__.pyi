from .about import examine_machine as examine_machine, print_config as print_config
from .answers import recommend as recommend, score as score
from .demonstration import demo as demo
from .doctor import LIBRARIES as LIBRARIES
from .engine import Engine as Engine
from .flags import (
    Address as Address,
    AllowEncoder as AllowEncoder,
    ConfigPath as ConfigPath,
    Device as Device,
    EngineName as EngineName,
    History as History,
    ImporterName as ImporterName,
    ModelName as ModelName,
    Queries as Queries,
    RegistryUri as RegistryUri,
    Settings as Settings,
    Source as Source,
    TrainingDevice as TrainingDevice,
)
from .init import init as init
from .invocation import command as command, invoke as invoke
from .night import nightly as nightly
from .outcome import Outcome as Outcome
from .pipeline import (
    build as build,
    import_download as import_download,
    publish as publish,
    run as run,
    train as train,
)
from .refresh import refresh as refresh
from .serve import Listening as Listening, RequestLogging as RequestLogging, serve as serve
from .versions import (
    compare as compare,
    evaluate as evaluate,
    history as history,
    promote as promote,
    rollback as rollback,
)
