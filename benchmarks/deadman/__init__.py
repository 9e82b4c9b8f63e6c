"""Whether gates close at their deadline when whoever should keep them open is stopped, killed or cut off."""
