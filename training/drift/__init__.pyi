from .compare import compare_bundles as compare_bundles, read_histories as read_histories
from .figures import DriftFigures as DriftFigures
from .page import Verdict as Verdict, lines as lines, render as render, verdict as verdict
