"""Tests of the voicecore command."""
