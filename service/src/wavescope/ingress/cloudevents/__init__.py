"""Inference events as KServe's logger, Knative's brokers and Seldon send them: CloudEvents over HTTP, read."""

from wavescope.ingress.cloudevents.attributes import EventAttributes, is_sampled, open_event
from wavescope.ingress.cloudevents.images import EventImage, event_images

__all__ = ["EventAttributes", "EventImage", "event_images", "is_sampled", "open_event"]
