"""SavedModels: writing, checking, finding and loading them."""
