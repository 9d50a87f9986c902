"""The retoucher tried on photographs: recolourings and cuts with figures, and sheets to look at."""
