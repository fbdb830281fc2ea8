from .compare import compare_bundles as compare_bundles, read_histories as read_histories
from .page import lines as lines, render as render
