from .pairs_of_texts import (
    SimilarityFigures as SimilarityFigures,
    TranslationFigures as TranslationFigures,
    TripletFigures as TripletFigures,
    evaluate_similarity as evaluate_similarity,
    evaluate_translation as evaluate_translation,
    evaluate_triplets as evaluate_triplets,
)
from .retrieval import (
    RetrievalFigures as RetrievalFigures,
    evaluate_rankings as evaluate_rankings,
    evaluate_retrieval as evaluate_retrieval,
)
from .text_model import TextModel as TextModel
