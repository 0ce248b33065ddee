"""Make images stores: from photographs, synthetic faces and other stores."""
